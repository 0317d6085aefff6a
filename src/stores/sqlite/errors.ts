import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { LovageError, StoreCorruptError, StoreError, StoreReadOnlyError } from '../../errors.ts';

// Primary result codes, https://www.sqlite.org/rescode.html
const BUSY = 5;
const READ_ONLY = 8;
const CORRUPT = 11;
const FULL = 13;
const CANNOT_OPEN = 14;
const NO_DATABASE = 26;

/** Whether somebody else holds the file at this moment, so that waiting can help. */
export function isBusy(error: unknown): boolean {
  return resultCode(error) === BUSY;
}

/** Says in Lovage's words what SQLite or the file system raised. Errors of ours come back as they are. */
export function storeError(error: unknown, path: string): unknown {
  if (error instanceof LovageError || !(error instanceof Error)) return error;
  const cause = { cause: error };
  switch (resultCode(error)) {
    case READ_ONLY:
      return readOnly(path, cause);
    case CORRUPT:
      return new StoreCorruptError(
        `${path} is damaged (${error.message}): keep a copy, then recover what is left with "sqlite3 ${path} .recover", or move it away to start anew`,
        cause,
      );
    case NO_DATABASE:
      return new StoreCorruptError(
        `${path}: expected a Lovage store or a new file, got a file that is no SQLite database; use another path`,
        cause,
      );
    case FULL:
      return new StoreError(`${path}: the disk is full; make room and try again`, cause);
    case CANNOT_OPEN:
      return cannotOpen(path, cause);
    case undefined:
      return systemError(error, path);
    default:
      return new StoreError(`${path}: ${error.message}`, cause);
  }
}

function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined;
  // The upper bits of an extended code tell the details.
  return error.errcode & 0xff;
}

function readOnly(path: string, cause: { cause: Error }): StoreReadOnlyError {
  return new StoreReadOnlyError(
    `${path} can be read but not written: a store needs write access to the file and to its folder, for the user that runs this process`,
    cause,
  );
}

function cannotOpen(path: string, cause: { cause: Error }): StoreError {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    return new StoreCorruptError(`${path}: expected a file, got a folder; name a file in it`, cause);
  }
  try {
    accessSync(dirname(path), constants.W_OK);
  } catch {
    return readOnly(path, cause);
  }
  return new StoreError(`${path} cannot be opened (${cause.cause.message})`, cause);
}

function systemError(error: Error, path: string): unknown {
  const code = 'code' in error ? error.code : undefined;
  if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM') return readOnly(path, { cause: error });
  if (code === 'EEXIST' || code === 'ENOTDIR') {
    return new StoreError(`${path}: a part of its folder path is a file (${error.message})`, { cause: error });
  }
  return 'syscall' in error ? new StoreError(`${path}: ${error.message}`, { cause: error }) : error;
}
