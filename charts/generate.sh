#!/bin/sh
# Writes what is in the charts and made of something else: copies of the definition, the licence, the rules and the dashboards, and each
# README.md, by helm-docs (Go module github.com/norwoodj/helm-docs, package cmd/helm-docs; another path to it in HELM_DOCS).
set -eu
cd "$(dirname "$0")"

mkdir -p operator/files
cp ../k8s/crd.yaml operator/files/crd.yaml
for chart in auth transcription operator; do
    cp ../LICENSE "$chart/LICENSE"
    rm -rf "$chart/files/rules.yaml" "$chart/files/dashboards"
    # The rules look at both services and the operator at once, and one dashboard at both services: each chart has them, for whichever is
    # asked. What the operator alone has is not for the others.
    for file in ../k8s/monitoring/rules.yaml ../k8s/monitoring/dashboards/*.json; do
        [ -e "$file" ] || continue
        case "$chart:$(basename "$file")" in auth:operator* | transcription:operator*) continue ;; esac
        to="$chart/files/${file#../k8s/monitoring/}"
        mkdir -p "$(dirname "$to")"
        cp "$file" "$to"
    done
done
"${HELM_DOCS:-helm-docs}" --chart-search-root . --sort-values-order file --log-level warning --skip-version-footer
