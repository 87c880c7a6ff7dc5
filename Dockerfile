# Wardgate in a small image: built in one stage, run in another that holds the program, its policy and nothing else.
#
#   docker build -t wardgate .
#   docker run -p 3128:3128 -v wardgate-data:/var/lib/wardgate -v wardgate-certs:/etc/wardgate/certs wardgate

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package wardgate
# Made here because the next image has no shell: empty directories that its user may write to.
RUN mkdir -p /out/data /out/certs

# The C library, the certificates of public authorities and a user without rights (65532); no shell, no packages.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/wardgate /usr/local/bin/wardgate
COPY --from=build --chown=65532:65532 /src/policies /etc/wardgate/policies
COPY --from=build --chown=65532:65532 /out/certs /etc/wardgate/certs
COPY --from=build --chown=65532:65532 /out/data /var/lib/wardgate

# A wardgate.toml mounted into this directory is read; what is set here goes before it.
WORKDIR /etc/wardgate
ENV WARDGATE_PROXY__LISTEN=0.0.0.0:3128 \
    WARDGATE_DATA__DIR=/var/lib/wardgate \
    WARDGATE_CERTS__DIR=/etc/wardgate/certs \
    WARDGATE_POLICY__DIR=/etc/wardgate/policies

USER 65532:65532
# Records and log; the authority, whose loss means a visit to every device; the policy that the school edits.
VOLUME ["/var/lib/wardgate", "/etc/wardgate/certs", "/etc/wardgate/policies"]
EXPOSE 3128
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/usr/local/bin/wardgate", "health"]
ENTRYPOINT ["/usr/local/bin/wardgate"]
CMD ["serve"]
