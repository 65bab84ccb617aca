# The images: auth-service, transcription-service, transcription-operator, and transcription-service-whisper, each a target.
#
#     docker build --target auth-service --tag auth-service .
#
# compiles in the Rust image named here. `make images` compiles outside and brings the programs along, in a BUILDER of its own.
# For every builder of images since Docker 20.10: no syntax that has to be fetched, no mounts.
ARG BUILDER=rust:1.95-bookworm

# What the images are made of, in /out. Compiled, fetched and copied is only what is not there yet.
FROM ${BUILDER} AS builder
LABEL dev.transcription.stage=builder
WORKDIR /src
COPY . .
ARG REVISION=unknown
# Built together, without Whisper.
RUN [ -e /out/transcription-operator ] || { \
        services/standalone/prepare.sh && \
        BUILD_REVISION="$REVISION" cargo build --release --locked \
            --package auth-service --package transcription-service --package transcription-operator && \
        mkdir -p /out && \
        cp target/*/release/auth-service target/*/release/transcription-service target/*/release/transcription-operator /out; \
    }
# The authorities that Debian chose, and not those that were added to the machine that builds.
RUN mkdir -p /out/certs /out/etc /out/data /out/licenses && \
    { [ -e /out/certs/ca-certificates.crt ] || cat /usr/share/ca-certificates/mozilla/*.crt >/out/certs/ca-certificates.crt; } && \
    echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >/out/etc/passwd && \
    echo 'nonroot:x:65532:' >/out/etc/group && \
    cp LICENSE /out/licenses && \
    chmod 644 /out/licenses/LICENSE

# What all of them have. No shell, no libraries: the programs are static.
FROM scratch AS base
COPY --from=builder /out/etc/ /etc/
COPY --from=builder /out/certs/ /etc/ssl/certs/
COPY --from=builder /out/licenses/ /licenses/
ENV PATH=/usr/local/bin
WORKDIR /app
USER 65532:65532
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=https://github.com/transcription-stack/transcription-stack
LABEL org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.source=${SOURCE} \
      org.opencontainers.image.licenses=Apache-2.0

FROM base AS auth-service
COPY --from=builder /out/auth-service /usr/local/bin/
COPY --from=builder --chown=65532:65532 /out/data/ /app/data/
VOLUME /app/data
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["auth-service", "healthcheck"]
ENTRYPOINT ["auth-service"]
LABEL org.opencontainers.image.title=auth-service \
      org.opencontainers.image.description="Accounts and tokens: registers people, checks passwords, signs JWTs"

FROM base AS transcription-service
COPY --from=builder /out/transcription-service /usr/local/bin/
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["transcription-service", "healthcheck"]
ENTRYPOINT ["transcription-service"]
LABEL org.opencontainers.image.title=transcription-service \
      org.opencontainers.image.description="Takes recordings, stores them in S3, asks Gemini and stores the text"

FROM base AS transcription-operator
COPY --from=builder /out/transcription-operator /usr/local/bin/
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["transcription-operator", "healthcheck"]
ENTRYPOINT ["transcription-operator"]
CMD ["run"]
LABEL org.opencontainers.image.title=transcription-operator \
      org.opencontainers.image.description="Turns a TranscriptionStack resource into a running deployment on Kubernetes"

# Whisper is C++ and takes minutes more, so who wants the others does not wait for it.
FROM builder AS whisper-builder
ARG REVISION=unknown
# With other features most of it is compiled once more.
RUN [ -e /out/whisper/transcription-service ] || { \
        services/standalone/prepare.sh && \
        BUILD_REVISION="$REVISION" cargo build --release --locked --features transcription-service/whisper \
            --package auth-service --package transcription-service --package transcription-operator && \
        mkdir -p /out/whisper && \
        cp target/*/release/transcription-service /out/whisper; \
    }
RUN [ -e /out/models/base/model.bin ] || { \
        services/standalone/prepare.sh && \
        LAB_CACHE=/out tests/lab/fetch.sh whisper-base && \
        rm -f /out/fetch.lock; \
    }

FROM base AS transcription-service-whisper
# Its licence is beside it.
COPY --from=whisper-builder /out/models/base/ /models/base/
COPY --from=whisper-builder /out/whisper/transcription-service /usr/local/bin/
ENV WHISPER_MODEL=/models/base
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["transcription-service", "healthcheck"]
ENTRYPOINT ["transcription-service"]
LABEL org.opencontainers.image.title=transcription-service \
      org.opencontainers.image.description="Takes recordings, stores them in S3, transcribes them with Whisper base and stores the text" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT"
