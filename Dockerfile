# The relay and the client, each an image of its own:
#
#   docker build --target relay  -t sallyport/relay  .
#   docker build --target client -t sallyport/client .
#
# Flags are given as arguments or as RELAY_… and CLIENT_… variables. Any builder will do: there is
# nothing here that only BuildKit understands. A runtime image needs glibc (no older than the
# build image's), and bash and grep for the health checks.

ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /src
# Backtraces keep their names, the images stay small.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
COPY . .
RUN cargo build --release --locked --package relay --package client \
    && install -D -t /out target/release/relay target/release/client \
    && rm -r target

FROM ${RUNTIME_IMAGE} AS relay
COPY --from=build /out/relay /usr/local/bin/relay
# For volumes, which are given to whoever has the folder that they are put on: one for --data, one
# for what compose.yaml hands to a client.
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/sallyport /var/lib/sallyport-client
# A number, so that an orchestrator can see that it is not root; no entry in /etc/passwd is needed.
USER 65532:65532
EXPOSE 4444 8080
# Whether the relay takes visitors. Give another admin port as RELAY_ADMIN rather than as --admin:
# the check looks there, on loopback.
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=3 CMD ["bash", "-c", "\
    admin=${RELAY_ADMIN:-4445}; \
    exec 3<>/dev/tcp/127.0.0.1/${admin##*:} || exit 1; \
    printf 'GET /readyz HTTP/1.1\\r\\nHost: relay\\r\\nConnection: close\\r\\n\\r\\n' >&3; \
    read -r _ status _ <&3; \
    [[ $status == 200 ]]"]
ENTRYPOINT ["relay"]

FROM ${RUNTIME_IMAGE} AS client
COPY --from=build /out/client /usr/local/bin/client
USER 65532:65532
# Whether there is a connection (state 01) to the relay's control port. Heartbeats end a dead one
# within 30 s, and a relay that refuses the client closes it at once. Give a control port other
# than 4444 as CLIENT_SERVER rather than as --server.
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=3 CMD ["bash", "-c", "\
    server=${CLIENT_SERVER:-:4444}; \
    port=$(printf %04X \"${server##*:}\"); \
    grep -qs \": [0-9A-F:]* [0-9A-F]*:$port 01 \" /proc/net/tcp /proc/net/tcp6"]
ENTRYPOINT ["client"]
