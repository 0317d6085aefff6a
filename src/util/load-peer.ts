import { MissingPackageError } from '../errors.ts';

/**
 * Imports an optional package when it is first needed: `loadPeer('ioredis', 'redis:// brokers', () => import('ioredis'))`.
 * Throws {@link MissingPackageError} with the install command when it is not installed, and with the fault as `cause`
 * when it is installed but fails to load.
 */
export async function loadPeer<T>(packageName: string, neededFor: string, importer: () => Promise<T>): Promise<T> {
  try {
    return await importer();
  } catch (cause) {
    if (isMissing(cause, packageName)) {
      throw new MissingPackageError(
        `The package ${packageName} is needed for ${neededFor} and is not installed. Run:\n  npm install ${packageName}`,
        { cause },
      );
    }
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new MissingPackageError(
      `The package ${packageName}, needed for ${neededFor}, is installed but could not be loaded: ${detail}`,
      { cause },
    );
  }
}

/** A missing package, as opposed to a missing part of an installed one. */
function isMissing(error: unknown, packageName: string): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false;
  const isNotFound = error.code === 'ERR_MODULE_NOT_FOUND' || error.code === 'MODULE_NOT_FOUND';
  return isNotFound && error.message.includes(`'${packageName}'`);
}
