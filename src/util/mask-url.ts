/** A URL fit for banners and logs: its password and secret-looking query values become `**`. Text that is no URL comes back masked after `://` up to `@`. */
export function maskUrl(url: string): string {
  return url
    .replace(/(:\/\/[^:/?#@]*):[^?#]*@/, '$1:**@')
    .replace(/([?&][^=&]*(?:secret|password|token|key)[^=&]*=)[^&#]*/gi, '$1**');
}
