{{/* Each wrong value fails with a sentence that says what to do. */}}
{{- define "auth.validate" -}}
{{- $name := include "auth.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "\n\nThe objects would be called %q, and a Service cannot: use only a to z, 0 to 9 and -, beginning with a letter. Name the release otherwise, or set fullnameOverride.\n" $name) -}}
{{- end -}}
{{- if not .Values.jwt.existingSecret -}}
{{- fail (printf "\n\njwt.existingSecret: name the Secret with the key that signs tokens. If there is none yet, make it, once, for both services:\n\n  kubectl create secret generic transcription-jwt --from-literal=%s=\"$(openssl rand -base64 48)\" --namespace %s\n\nand install with --set jwt.existingSecret=transcription-jwt\n" .Values.jwt.key .Release.Namespace) -}}
{{- end -}}
{{- if gt (int64 .Values.replicas) 1 -}}
{{- fail (printf "\n\nreplicas is %d: SQLite has one writer, so there is never more than one pod of the auth service. Set replicas to 1.\n" (int64 .Values.replicas)) -}}
{{- end -}}
{{- range .Values.trustedProxies -}}
{{- if not (regexMatch "^[0-9a-fA-F.:]+/[0-9]{1,3}$" .) -}}
{{- fail (printf "\n\ntrustedProxies: %q is no network: write networks as CIDRs, for example 10.0.0.0/8.\n" .) -}}
{{- end -}}
{{- end -}}
{{- range .Values.corsAllowedOrigins -}}
{{- if not (or (regexMatch "^https?://[^/A-Z ,]+$" .) (and (eq . "*") (eq (len $.Values.corsAllowedOrigins) 1))) -}}
{{- fail (printf "\n\ncorsAllowedOrigins: %q is no origin: write origins as browsers send them, scheme, host and port in lower case without a path, for example https://app.example.com; or * alone.\n" .) -}}
{{- end -}}
{{- end -}}
{{- with .Values.tracing.otlpEndpoint -}}
{{- if not (regexMatch "^https?://[^ ]+$" .) -}}
{{- fail (printf "\n\ntracing.otlpEndpoint: %q is no address: write http or https, a host and a port, for example http://collector:4318.\n" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "\n\ningress.enabled needs a host: set ingress.host, for example auth.example.com.\n" -}}
{{- end -}}
{{- if and .Values.service.nodePort (eq .Values.service.type "ClusterIP") -}}
{{- fail "\n\nservice.nodePort needs service.type NodePort or LoadBalancer: set service.type, or remove service.nodePort.\n" -}}
{{- end -}}
{{- $settings := dict
  "JWT_SECRET_KEY" "jwt.existingSecret"
  "JWT_SECRET_KEY_FILE" "jwt.existingSecret"
  "JWT_SECRET_KEY_PREVIOUS" "jwt.previousKey"
  "JWT_SECRET_KEY_PREVIOUS_FILE" "jwt.previousKey"
  "ACCESS_TOKEN_EXPIRE_MINUTES" "accessTokenExpireMinutes"
  "BCRYPT_COST" "bcryptCost"
  "CORS_ALLOWED_ORIGINS" "corsAllowedOrigins"
  "DATABASE_URL" "persistence"
  "LISTEN_ADDR" "service.port"
  "MANAGEMENT_ADDR" "service.managementPort"
  "OTEL_EXPORTER_OTLP_ENDPOINT" "tracing.otlpEndpoint"
  "PASSWORD_MIN_LENGTH" "passwordMinLength"
  "REGISTRATION" "registration"
  "SHUTDOWN_DELAY_SECONDS" "docs/operating.md: it belongs to the pod's terminationGracePeriodSeconds"
  "SHUTDOWN_GRACE_SECONDS" "docs/operating.md: it belongs to the pod's terminationGracePeriodSeconds"
  "TRUSTED_PROXIES" "trustedProxies"
-}}
{{- range $variable := .Values.extraEnv -}}
{{- with get $settings $variable.name -}}
{{- fail (printf "\n\nextraEnv: %s is set by the chart: remove it, and see %s.\n" $variable.name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
