// `npm run demo`. JavaScript, so that a Node too old for main.ts says so in place of "Unknown file extension".
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major > 22 || (major === 22 && minor >= 18)) {
  // Node 22 calls its SQLite experimental, in the middle of the progress bars.
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    if (warning.name !== 'ExperimentalWarning') console.error(warning);
  });
  await import('./main.ts');
} else {
  console.error(
    `The demo needs Node 22.18 or later; this is ${process.version}. Get a newer one from https://nodejs.org`,
  );
  process.exitCode = 1;
}
