import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// The gateway lets pages of this origin in by name (`cors.allow_origins`), so no other port will do.
export default defineConfig({
  plugins: [react()],
  server: { port: 5173, strictPort: true },
  preview: { port: 5173, strictPort: true },
})
