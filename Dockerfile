# The server and its production dependencies as one file, without development tools and the embedded Postgres.
FROM denoland/deno:2.9.6 AS build
WORKDIR /build
COPY deno.json deno.lock openapi.yaml ./
COPY scripts/install.ts scripts/install.ts
COPY generated generated
COPY src src
RUN deno task bundle

FROM denoland/deno:distroless-2.9.6
COPY --from=build /build/slotkeeper.js /app/slotkeeper.js
WORKDIR /app
# User `nonroot` of the base image.
USER 65532:65532
ENV HOST=0.0.0.0 PORT=8000 DENO_NO_UPDATE_CHECK=1 MALLOC_ARENA_MAX=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["deno", "eval", "const { PORT } = Deno.env.toObject(); Deno.exit((await fetch(`http://127.0.0.1:${PORT}/healthz`)).ok ? 0 : 1)"]
ENTRYPOINT ["deno", "run", "--v8-flags=--max-semi-space-size=4,--heap-growing-percent=30,--no-maglev", "--allow-net", "--allow-env", "--allow-read=/app", "slotkeeper.js"]
