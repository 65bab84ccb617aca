{{/* Each wrong value fails with a sentence that says what to do. */}}
{{- define "transcription.validate" -}}
{{- $name := include "transcription.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "\n\nThe objects would be called %q, and a Service cannot: use only a to z, 0 to 9 and -, beginning with a letter. Name the release otherwise, or set fullnameOverride.\n" $name) -}}
{{- end -}}
{{- if not .Values.jwt.existingSecret -}}
{{- fail (printf "\n\njwt.existingSecret: name the Secret with the key that tokens are verified with, that of the auth service. If there is none yet, make it, once, for both services:\n\n  kubectl create secret generic transcription-jwt --from-literal=%s=\"$(openssl rand -base64 48)\" --namespace %s\n\nand install with --set jwt.existingSecret=transcription-jwt\n" .Values.jwt.key .Release.Namespace) -}}
{{- end -}}
{{- with .Values.engine -}}
{{- $gemini := not (empty .gemini.existingSecret) -}}
{{- $folder := not (empty .whisper.modelPath) -}}
{{- $volume := not (empty .whisper.persistentVolumeClaim.claimName) -}}
{{- if not (or $gemini $folder $volume) -}}
{{- fail "\n\nengine: there is none. Set exactly one:\n\n  --set engine.whisper.modelPath=/models/base      Whisper in the pod itself: recordings stay in the cluster and the bucket\n  --set engine.gemini.existingSecret=gemini        Google's Gemini, with the key GEMINI_API_KEY of that Secret: recordings are sent to Google\n" -}}
{{- end -}}
{{- if and $gemini (or $folder $volume) -}}
{{- fail "\n\nengine: there are two. Set exactly one: engine.gemini.existingSecret for Gemini, or engine.whisper for Whisper.\n" -}}
{{- end -}}
{{- if and $folder $volume -}}
{{- fail "\n\nengine.whisper: give exactly one source of the model: modelPath, a folder of the image, or persistentVolumeClaim.claimName.\n" -}}
{{- end -}}
{{- end -}}
{{- if not .Values.s3.bucket -}}
{{- fail "\n\ns3.bucket: name the bucket for recordings and texts, for example --set s3.bucket=recordings. It must exist.\n" -}}
{{- end -}}
{{- range $name, $address := dict "s3.endpoint" .Values.s3.endpoint "engine.gemini.baseURL" .Values.engine.gemini.baseURL "authTokenURL" .Values.authTokenURL "tracing.otlpEndpoint" .Values.tracing.otlpEndpoint "smokeTest.authURL" .Values.smokeTest.authURL -}}
{{- if and $address (not (regexMatch "^https?://[^ /]+" $address)) -}}
{{- fail (printf "\n\n%s: %q is no address: write http or https, a host, and a port if there is one, for example http://minio:9000.\n" $name $address) -}}
{{- end -}}
{{- end -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (gt (int64 .minReplicas) (int64 .maxReplicas)) -}}
{{- fail (printf "\n\nautoscaling: minReplicas (%d) must not be larger than maxReplicas (%d): lower the one or raise the other.\n" (int64 .minReplicas) (int64 .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (has (toString .Values.podDisruptionBudget.maxUnavailable) (list "0" "0%")) -}}
{{- fail "\n\npodDisruptionBudget.maxUnavailable is 0: no node with a pod could ever be drained. Set it to 1 or more.\n" -}}
{{- end -}}
{{- range .Values.corsAllowedOrigins -}}
{{- if not (or (regexMatch "^https?://[^/A-Z ,]+$" .) (and (eq . "*") (eq (len $.Values.corsAllowedOrigins) 1))) -}}
{{- fail (printf "\n\ncorsAllowedOrigins: %q is no origin: write origins as browsers send them, scheme, host and port in lower case without a path, for example https://app.example.com; or * alone.\n" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "\n\ningress.enabled needs a host: set ingress.host, for example transcription.example.com.\n" -}}
{{- end -}}
{{- if and .Values.smokeTest.existingSecret (not .Values.smokeTest.authURL) -}}
{{- fail "\n\nsmokeTest.existingSecret needs smokeTest.authURL: set the address of the auth service, for example http://auth:8001.\n" -}}
{{- end -}}
{{- if and .Values.service.nodePort (eq .Values.service.type "ClusterIP") -}}
{{- fail "\n\nservice.nodePort needs service.type NodePort or LoadBalancer: set service.type, or remove service.nodePort.\n" -}}
{{- end -}}
{{- $settings := dict
  "AUTH_TOKEN_URL" "authTokenURL"
  "AWS_ACCESS_KEY_ID" "s3.existingSecret"
  "AWS_ACCESS_KEY_ID_FILE" "s3.existingSecret"
  "AWS_ENDPOINT_URL_S3" "s3.endpoint"
  "AWS_REGION" "s3.region"
  "AWS_SECRET_ACCESS_KEY" "s3.existingSecret"
  "AWS_SECRET_ACCESS_KEY_FILE" "s3.existingSecret"
  "CA_BUNDLE_FILE" "s3.caBundle"
  "CORS_ALLOWED_ORIGINS" "corsAllowedOrigins"
  "ENGINE_TIMEOUT_SECONDS" "engineTimeoutSeconds"
  "GEMINI_API_KEY" "engine.gemini.existingSecret"
  "GEMINI_API_KEY_FILE" "engine.gemini.existingSecret"
  "GEMINI_BASE_URL" "engine.gemini.baseURL"
  "GEMINI_MODEL" "engine.gemini.model"
  "JWT_SECRET_KEY" "jwt.existingSecret"
  "JWT_SECRET_KEY_FILE" "jwt.existingSecret"
  "JWT_SECRET_KEY_PREVIOUS" "jwt.previousKey"
  "JWT_SECRET_KEY_PREVIOUS_FILE" "jwt.previousKey"
  "LISTEN_ADDR" "service.port"
  "MANAGEMENT_ADDR" "service.managementPort"
  "MAX_CONCURRENT_TRANSCRIPTIONS" "maxConcurrent"
  "MAX_UPLOAD_BYTES" "maxUploadBytes"
  "OTEL_EXPORTER_OTLP_ENDPOINT" "tracing.otlpEndpoint"
  "S3_BUCKET_NAME" "s3.bucket"
  "S3_FORCE_PATH_STYLE" "s3.forcePathStyle"
  "SHUTDOWN_DELAY_SECONDS" "engineTimeoutSeconds"
  "SHUTDOWN_GRACE_SECONDS" "engineTimeoutSeconds"
  "TRANSCRIPTION_ENGINE" "engine"
  "WHISPER_MODEL" "engine.whisper"
-}}
{{- range $variable := .Values.extraEnv -}}
{{- with get $settings $variable.name -}}
{{- fail (printf "\n\nextraEnv: %s is set by the chart: remove it, and see %s.\n" $variable.name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
