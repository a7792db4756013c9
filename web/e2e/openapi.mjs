// Says what is wrong with a description of an API, as OpenAPI's specification
// has it; it says nothing, and exits with 0, when nothing is:
//
//   node e2e/openapi.mjs < openapi.json
import { text } from "node:stream/consumers";
import { createConfig, lintFromString } from "@redocly/openapi-core";

const rules = [
  "struct", // each part is one that this version of OpenAPI knows, of the right type, with what it must have
  "no-unresolved-refs", "no-identical-paths", "path-declaration-must-exist", "path-not-include-query", "path-parameters-defined",
  "operation-operationId-unique", "operation-parameters-unique", "no-enum-type-mismatch", "no-required-schema-properties-undefined",
  "no-schema-type-mismatch", "no-invalid-schema-examples",
];

/** What is called without signing in; all else says how one signs in, in a scheme that is defined. */
const open = ["/login", "/login/offline", "/login/break-glass", "/login/break-glass/{id}/confirm"];

const config = await createConfig({
  rules: {
    ...Object.fromEntries(rules.map((rule) => [rule, "error"])),
    "security-defined": { severity: "error", exceptions: open.map((path) => ({ path })) },
  },
});
const problems = await lintFromString({ source: await text(process.stdin), absoluteRef: "openapi.json", config });
for (const p of problems) console.log(`${p.location[0]?.pointer ?? ""}: ${p.ruleId}: ${p.message}`);
process.exitCode = problems.length > 0 ? 1 : 0;
