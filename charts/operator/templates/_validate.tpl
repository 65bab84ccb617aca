{{/* Each wrong value fails with a sentence that says what to do. */}}
{{- define "operator.validate" -}}
{{- $name := include "operator.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "\n\nThe objects would be called %q, and a Service cannot: use only a to z, 0 to 9 and -, beginning with a letter. Name the release otherwise, or set fullnameOverride.\n" $name) -}}
{{- end -}}
{{- range .Values.watchNamespaces -}}
{{- if or (gt (len .) 63) (not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" .)) -}}
{{- fail (printf "\n\nwatchNamespaces: %q is no name of a namespace: list names, for example {team-a,team-b}.\n" .) -}}
{{- end -}}
{{- end -}}
{{- $prefix := include "operator.imagePrefix" . -}}
{{- if or (contains "://" $prefix) (not (regexMatch "^[-a-zA-Z0-9._/:]*[-a-zA-Z0-9._:]$" $prefix)) -}}
{{- fail (printf "\n\nimagePrefix: %q is no registry and path: write them without https:// and without a slash at the end, for example ghcr.io/transcription-stack.\n" $prefix) -}}
{{- end -}}
{{- with .Values.tracing.otlpEndpoint -}}
{{- if not (regexMatch "^https?://[^ /]+" .) -}}
{{- fail (printf "\n\ntracing.otlpEndpoint: %q is no address: write http or https, a host and a port, for example http://collector:4318.\n" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (has (toString .Values.podDisruptionBudget.maxUnavailable) (list "0" "0%")) -}}
{{- fail "\n\npodDisruptionBudget.maxUnavailable is 0: no node with a pod could ever be drained. Set it to 1 or more.\n" -}}
{{- end -}}
{{- $settings := dict
  "IMAGE_PREFIX" "imagePrefix"
  "LEASE_DURATION_SECONDS" "leaseDurationSeconds"
  "LOG_FORMAT" "logFormat"
  "MANAGEMENT_ADDR" "service.managementPort"
  "MAX_CONCURRENT_RECONCILES" "maxConcurrentReconciles"
  "OTEL_EXPORTER_OTLP_ENDPOINT" "tracing.otlpEndpoint"
  "RUST_LOG" "logFilter"
  "WATCH_NAMESPACES" "watchNamespaces"
  "WATCH_STALE_AFTER_SECONDS" "watchStaleAfterSeconds"
-}}
{{- range $variable := .Values.extraEnv -}}
{{- with get $settings $variable.name -}}
{{- fail (printf "\n\nextraEnv: %s is set by the chart: remove it, and see %s.\n" $variable.name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
