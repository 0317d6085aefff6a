/** What the browser gets to see. */
import type { Report } from './tasks.ts';

export function formPage(): string {
  return page(
    'Count words',
    `<form method="post" action="/reports">
      <p><label for="text">A text, whose words a worker counts:</label></p>
      <p><textarea id="text" name="text" rows="10" cols="60" required></textarea></p>
      <p><button>Count</button></p>
    </form>`,
  );
}

/** Loads itself again every second. */
export function progressPage(part: number, of: number): string {
  return page(
    'Counting',
    `<p><progress value="${part}" max="${of}"></progress> ${part} of ${of} parts</p>`,
    '<meta http-equiv="refresh" content="1">',
  );
}

export function reportPage({ words, distinct, top, runs }: Report): string {
  const rows = top.map(([word, count]) => `<tr><td>${escapeHtml(word)}</td><td>${count}</td></tr>`);
  const interrupted = runs > 1 ? `<p>Its worker was stopped in the middle; run ${runs} finished it.</p>` : '';
  return page(
    'Your report',
    `<p>${words} words, ${distinct} different ones.</p>
    <table>${rows.join('')}</table>
    ${interrupted}
    <p><a href="/">Another one</a></p>`,
  );
}

export function failurePage(text: string): string {
  return page('Sorry', `<p>${escapeHtml(text)}</p><p><a href="/">Back</a></p>`);
}

function page(title: string, body: string, head = ''): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>${title}</title>
    ${head}
  </head>
  <body>
    <h1>${title}</h1>
    ${body}
  </body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
