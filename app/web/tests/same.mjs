// The committed page is what its sources give, byte for byte, and it is small.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const LIMIT = 60_000;

const place = mkdtempSync(join(tmpdir(), "page-"));
try {
  await build({ logLevel: "warn", build: { outDir: place } });
  const built = readFileSync(join(place, "index.html"));
  const committed = readFileSync(new URL("../../dcu/web/page/index.html", import.meta.url));
  if (!built.equals(committed)) {
    console.error("app/dcu/web/page/index.html is not what app/web gives: run `make page` and commit it");
    process.exit(1);
  }
  const size = gzipSync(built, { level: 9 }).length;
  console.log(`the page: ${built.length} bytes, ${size} with gzip (at most ${LIMIT})`);
  if (size >= LIMIT) {
    console.error("the page has grown too large");
    process.exit(1);
  }
} finally {
  rmSync(place, { recursive: true, force: true });
}
