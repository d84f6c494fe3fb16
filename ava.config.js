// Tests sit beside the code; Node runs TypeScript as it is. Two workers: the machines have two cores.
export default {
  files: ['consensus/**/*.test.ts', 'vip/**/*.test.ts', 'node/**/*.test.ts', 'cluster-tests/**/*.test.ts', 'webui/**/*.test.ts'],
  extensions: ['ts'],
  concurrency: 2,
  timeout: '120s',
  workerThreads: false,
}
