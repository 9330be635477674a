import openapiYaml from "../openapi.yaml" with { type: "text" };

/** The version of the contract, which the server, the admin program and the SDK share. */
export const version = /^ {2}version: (\S+)$/m.exec(openapiYaml)?.[1] ?? "unknown";
