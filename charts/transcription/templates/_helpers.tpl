{{/* The name of the program, in labels. */}}
{{- define "transcription.name" -}}
{{- default "transcription-service" .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the objects. At most 50 characters: "-management" and the hashes of pods come after it. */}}
{{- define "transcription.fullname" -}}
{{- $chart := default .Chart.Name .Values.nameOverride -}}
{{- $name := printf "%s-%s" .Release.Name $chart -}}
{{- if contains $chart .Release.Name -}}
{{- $name = .Release.Name -}}
{{- end -}}
{{- default $name .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* By which the pods are found. They never change: a Deployment's selector cannot. */}}
{{- define "transcription.selectorLabels" -}}
{{- dict
  "app.kubernetes.io/component" "transcription"
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/name" (include "transcription.name" .)
| toYaml -}}
{{- end -}}

{{/* Labels of a pod of a component: (list $ component labels). No version, or a new chart alone would restart them. */}}
{{- define "transcription.podLabels" -}}
{{- $root := index . 0 -}}
{{- $own := dict
  "app.kubernetes.io/component" (index . 1)
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/name" (include "transcription.name" $root)
  "app.kubernetes.io/part-of" "transcription-stack"
-}}
{{- mergeOverwrite (deepCopy (default dict $root.Values.commonLabels)) (default dict (index . 2)) $own | toYaml -}}
{{- end -}}

{{/* Labels of an object: (list $ labels). */}}
{{- define "transcription.labels" -}}
{{- $root := index . 0 -}}
{{- $own := dict
  "app.kubernetes.io/component" "transcription"
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/name" (include "transcription.name" $root)
  "app.kubernetes.io/part-of" "transcription-stack"
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
-}}
{{- mergeOverwrite (deepCopy (default dict $root.Values.commonLabels)) (default dict (index . 1)) $own | toYaml -}}
{{- end -}}

{{/* Annotations of an object, with their key, or nothing: (list $ annotations). */}}
{{- define "transcription.annotations" -}}
{{- $root := index . 0 -}}
{{- with mergeOverwrite (deepCopy (default dict $root.Values.commonAnnotations)) (default dict (index . 1)) -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "transcription.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- $name := .Values.image.repository -}}
{{- if $registry -}}
{{- $name = printf "%s/%s" $registry $name -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- $variant := eq (include "transcription.engine" .) "whisper" | ternary "-whisper" "" -}}
{{- printf "%s:%s" $name (default (printf "%s%s" .Chart.AppVersion $variant) .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "transcription.serviceAccountName" -}}
{{- $made := ternary (include "transcription.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $made .Values.serviceAccount.name -}}
{{- end -}}

{{/* gemini or whisper, by what is given for it. */}}
{{- define "transcription.engine" -}}
{{- ternary "gemini" "whisper" (not (empty .Values.engine.gemini.existingSecret)) -}}
{{- end -}}

{{/* How long requests in flight may take at the end, in seconds: the engine's time, and half a minute to store the text. */}}
{{- define "transcription.graceSeconds" -}}
{{- add (int64 .Values.engineTimeoutSeconds) 30 -}}
{{- end -}}

{{/* The settings of the service, without secrets: the same as the operator's (operator/src/build/transcription.rs). */}}
{{- define "transcription.settings" -}}
{{- $settings := dict
  "ENGINE_TIMEOUT_SECONDS" (int64 .Values.engineTimeoutSeconds | toString)
  "LISTEN_ADDR" "[::]:8000"
  "MANAGEMENT_ADDR" "[::]:9090"
  "MAX_UPLOAD_BYTES" (int64 .Values.maxUploadBytes | toString)
  "S3_BUCKET_NAME" .Values.s3.bucket
  "S3_FORCE_PATH_STYLE" (toString .Values.s3.forcePathStyle)
  "SHUTDOWN_DELAY_SECONDS" "5"
  "SHUTDOWN_GRACE_SECONDS" (include "transcription.graceSeconds" .)
  "TRANSCRIPTION_ENGINE" (include "transcription.engine" .)
-}}
{{- if eq (include "transcription.engine" .) "gemini" -}}
{{- $_ := set $settings "GEMINI_MODEL" .Values.engine.gemini.model -}}
{{- with .Values.engine.gemini.baseURL -}}
{{- $_ := set $settings "GEMINI_BASE_URL" . -}}
{{- end -}}
{{- else -}}
{{- $_ := set $settings "WHISPER_MODEL" (default "/models/volume" .Values.engine.whisper.modelPath) -}}
{{- end -}}
{{- with .Values.maxConcurrent -}}
{{- $_ := set $settings "MAX_CONCURRENT_TRANSCRIPTIONS" (int64 . | toString) -}}
{{- end -}}
{{- with .Values.s3.region -}}
{{- $_ := set $settings "AWS_REGION" . -}}
{{- end -}}
{{- with .Values.s3.endpoint -}}
{{- $_ := set $settings "AWS_ENDPOINT_URL_S3" . -}}
{{- end -}}
{{- with .Values.s3.caBundle -}}
{{- if .existingSecret -}}
{{- $_ := set $settings "CA_BUNDLE_FILE" (printf "/etc/transcription/ca/%s" .key) -}}
{{- end -}}
{{- end -}}
{{- with .Values.authTokenURL -}}
{{- $_ := set $settings "AUTH_TOKEN_URL" . -}}
{{- end -}}
{{- with .Values.corsAllowedOrigins -}}
{{- $_ := set $settings "CORS_ALLOWED_ORIGINS" (join "," .) -}}
{{- end -}}
{{- with .Values.tracing.otlpEndpoint -}}
{{- $_ := set $settings "OTEL_EXPORTER_OTLP_ENDPOINT" . -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* What the engine needs, and over it what the values say. What they say null to is left out. */}}
{{- define "transcription.resources" -}}
{{- $resources := dict
  "requests" (dict "cpu" "100m" "memory" "128Mi")
  "limits" (dict "cpu" "2" "memory" "1Gi")
-}}
{{- if eq (include "transcription.engine" .) "whisper" -}}
{{- $resources = dict
  "requests" (dict "cpu" "1" "memory" "512Mi")
  "limits" (dict "cpu" "4" "memory" "2Gi")
-}}
{{- end -}}
{{- range $kind, $wanted := .Values.resources -}}
{{- if eq $kind "claims" -}}
{{- $_ := set $resources $kind $wanted -}}
{{- else -}}
{{- range $name, $amount := $wanted -}}
{{- if kindIs "invalid" $amount -}}
{{- $_ := unset (get $resources $kind) $name -}}
{{- else -}}
{{- $_ := set (get $resources $kind) $name $amount -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* Whether a kind of Prometheus's operator is to be written: (list $ kind values). Empty: no. */}}
{{- define "transcription.monitoring" -}}
{{- $root := index . 0 -}}
{{- $wanted := index . 2 -}}
{{- $known := $root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" (index . 1)) -}}
{{- if and $wanted.enabled (or $wanted.force $known) -}}
yes
{{- end -}}
{{- end -}}

{{/* The alerts of files/rules.yaml, a file of Prometheus's, as it is. Empty if there is no such file. */}}
{{- define "transcription.alerts" -}}
{{- with .Files.Get "files/rules.yaml" -}}
{{- (fromYaml .).groups | toYaml -}}
{{- end -}}
{{- end -}}
