/** A self-signed certificate, made anew for each test. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class Certificate implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'lovage-tls-'));
  readonly certFile = join(this.#folder, 'cert.pem');
  readonly keyFile = join(this.#folder, 'key.pem');

  /** `host` is whom it is for, as `IP:127.0.0.1` or `DNS:redis.example`. */
  constructor(host = 'IP:127.0.0.1') {
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', this.keyFile];
    const about = ['-days', '2', '-subj', '/CN=lovage test', '-addext', `subjectAltName=${host}`];
    execFileSync('openssl', ['req', '-x509', ...newKey, ...about, '-out', this.certFile], { stdio: 'pipe' });
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
