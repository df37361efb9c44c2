# The build stage makes /app as the image has it, and checks the configuration with it.
FROM golang:1.26-bookworm AS build
WORKDIR /src
ENV CGO_ENABLED=0

# The modules first: they change less often than the code.
COPY go.work go.mod go.sum ./
COPY sdk/go/go.* sdk/go/
COPY plugins/go.* plugins/
RUN go mod download

COPY . .
RUN go build -trimpath -ldflags='-s -w' -o /app/patchbay ./host/cmd/patchbay
RUN for manifest in plugins/*/manifest.json; do \
      name=$(basename "$(dirname "$manifest")") && mkdir -p "/app/plugins/$name" && \
      /app/patchbay plugin build "plugins/$name" -o "/app/plugins/$name/$name.wasm" || exit 1; \
    done \
 && cp -r configs /app/configs \
 && /app/patchbay check --config /app/configs/container.yaml \
 && install -d -m 0700 /cache/patchbay

# The image: the server, its plugins, and the certificates that outbound https is checked against. There is
# no shell in it, and its root may be read-only: the server writes to the volume alone.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /app /app
COPY --from=build --chown=65532:65532 /cache/ /var/cache/

WORKDIR /app
USER 65532:65532
# Compiled plugins and the admin token. A volume takes over the folder's owner and mode.
VOLUME ["/var/cache/patchbay"]
EXPOSE 8000
ENTRYPOINT ["/app/patchbay"]
CMD ["serve", "--config", "/app/configs/container.yaml"]
