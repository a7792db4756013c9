import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// In development the API of a running gateway is proxied; POSTERN_TOKEN, when
// set, signs every call in. The built console is served by the gateway itself.
const server = process.env.POSTERN_SERVER ?? "https://127.0.0.1:8443";
const token = process.env.POSTERN_TOKEN;
const proxied = { target: server, secure: false, ws: true, headers: token ? { Authorization: `Bearer ${token}` } : {} };

export default defineConfig({
  plugins: [react()],
  html: { cspNonce: "__NONCE__" }, // the gateway puts a fresh one into each answer
  server: { proxy: { "/api": proxied, "/auth": proxied } },
  build: {
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"], // they know light-dark()
    assetsInlineLimit: 0, // the policy for content allows no data: addresses
    chunkSizeWarningLimit: 700,
    rollupOptions: {
      output: {
        // What every page needs comes in one piece: fewer requests at 3 a.m. on a phone.
        codeSplitting: {
          groups: [{ name: "frame", test: /node_modules[\\/](react|react-dom|scheduler|openapi-fetch|get-nonce|clsx|@floating-ui|@tanstack|@tabler|@mantine[\\/](core|hooks|notifications))[\\/]|web[\\/]src[\\/](parts[\\/](page|format|facts)|api|shell)/ }],
        },
      },
    },
  },
});
