#!/bin/sh
# Makes prometheusrule.yaml, for the Prometheus operator, of rules.yaml:
# k8s/monitoring/prometheusrule.sh > k8s/monitoring/prometheusrule.yaml
set -eu

cat <<'HEAD'
# Made by prometheusrule.sh: change rules.yaml, which also says why each rule is as it is.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: transcription
  labels:
    app.kubernetes.io/name: transcription-monitoring
    app.kubernetes.io/part-of: transcription-stack
spec:
HEAD
# Two spaces deeper, without the comments.
sed -e '/^ *#/d' -e 's/^./  &/' "$(dirname "$0")/rules.yaml"
