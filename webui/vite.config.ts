/**
 * Builds the console into `webui/dist` (run as `vite build webui`), and serves it while developing (`vite webui`).
 * HAECHI_API is the node, or the fixture server, whose API the development server forwards to.
 */
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

const api = process.env['HAECHI_API'] ?? 'http://127.0.0.1:8443'

export default defineConfig(({ command }) => {
  // A build is always for production, whatever the environment of the one who starts it says.
  if (command === 'build') process.env['NODE_ENV'] = 'production'
  return {
    root: import.meta.dirname,
    // The pages are addressed by path at the root of every node, so assets must not be relative to the page.
    base: '/',
    plugins: [react()],
    build: {
      outDir: 'dist',
      emptyOutDir: true,
      target: 'es2022',
      // No data: URLs, so that the node can serve a strict Content-Security-Policy.
      assetsInlineLimit: 0,
      reportCompressedSize: true,
      rolldownOptions: {
        output: {
          codeSplitting: {
            // What changes only with an upgrade of a dependency keeps its own file, and with it the browser's cache.
            groups: [
              { name: 'react', test: /node_modules[\\/](react|react-dom|scheduler)[\\/]/, priority: 2 },
              { name: 'words', test: /src[\\/]words[\\/]en\.ts/, priority: 3 },
            ],
          },
        },
      },
    },
    server: { host: '127.0.0.1', port: 5173, proxy: { '/api': { target: api, ws: true, secure: false, changeOrigin: true } } },
  }
})
