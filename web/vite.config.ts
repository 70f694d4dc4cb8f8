import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

// The same sources give the same bytes: names have hashes of contents, and nothing here depends on time or machine.
const named = "assets/[name]-[hash]";
const beside = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  // The page may be served below a path.
  base: "./",
  build: {
    outDir: process.env["WEB_OUT"] ?? "../.build/web",
    emptyOutDir: true,
    target: "es2022",
    // The Content Security Policy admits no inline code.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: {
        hashCharacters: "hex",
        entryFileNames: `${named}.js`,
        chunkFileNames: `${named}.js`,
        assetFileNames: `${named}[extname]`,
      },
    },
  },
  worker: {
    format: "es",
    rollupOptions: { output: { hashCharacters: "hex", entryFileNames: `${named}.js` } },
  },
  plugins: [
    {
      // The client can make its worker itself from this source; the page makes it from the bundled one.
      name: "leave-out-sources",
      generateBundle(_, bundle) {
        for (const name of Object.keys(bundle)) if (name.endsWith(".ts")) delete bundle[name];
      },
    },
  ],
  resolve: {
    alias: {
      "@sluice/client": beside("../clients/javascript/src/index.ts"),
      "@sluice/uppy": beside("../clients/uppy/src/index.ts"),
    },
    dedupe: ["@uppy/core"],
  },
});
