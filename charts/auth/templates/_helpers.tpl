{{/* The name of the program, in labels. */}}
{{- define "auth.name" -}}
{{- default "auth-service" .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the objects. At most 50 characters: "-management" and the hash of a StatefulSet's revision come after it. */}}
{{- define "auth.fullname" -}}
{{- $chart := default .Chart.Name .Values.nameOverride -}}
{{- $name := printf "%s-%s" .Release.Name $chart -}}
{{- if contains $chart .Release.Name -}}
{{- $name = .Release.Name -}}
{{- end -}}
{{- default $name .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* By which the pod is found. They never change: a StatefulSet's selector cannot. */}}
{{- define "auth.selectorLabels" -}}
{{- dict
  "app.kubernetes.io/component" "auth"
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/name" (include "auth.name" .)
| toYaml -}}
{{- end -}}

{{/* Labels of a pod of a component: (list $ component labels). No version, or a new chart alone would restart it. */}}
{{- define "auth.podLabels" -}}
{{- $root := index . 0 -}}
{{- $own := dict
  "app.kubernetes.io/component" (index . 1)
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/name" (include "auth.name" $root)
  "app.kubernetes.io/part-of" "transcription-stack"
-}}
{{- mergeOverwrite (deepCopy (default dict $root.Values.commonLabels)) (default dict (index . 2)) $own | toYaml -}}
{{- end -}}

{{/* Labels of an object: (list $ labels). */}}
{{- define "auth.labels" -}}
{{- $root := index . 0 -}}
{{- $own := dict
  "app.kubernetes.io/component" "auth"
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/name" (include "auth.name" $root)
  "app.kubernetes.io/part-of" "transcription-stack"
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
-}}
{{- mergeOverwrite (deepCopy (default dict $root.Values.commonLabels)) (default dict (index . 1)) $own | toYaml -}}
{{- end -}}

{{/* Annotations of an object, with their key, or nothing: (list $ annotations). */}}
{{- define "auth.annotations" -}}
{{- $root := index . 0 -}}
{{- with mergeOverwrite (deepCopy (default dict $root.Values.commonAnnotations)) (default dict (index . 1)) -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "auth.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- $name := .Values.image.repository -}}
{{- if $registry -}}
{{- $name = printf "%s/%s" $registry $name -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "auth.serviceAccountName" -}}
{{- $made := ternary (include "auth.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $made .Values.serviceAccount.name -}}
{{- end -}}

{{- define "auth.claimName" -}}
{{- default (printf "%s-data" (include "auth.fullname" .)) .Values.persistence.existingClaim -}}
{{- end -}}

{{/* The settings of the service, without secrets: the same as the operator's (operator/src/build/auth.rs). */}}
{{- define "auth.settings" -}}
{{- $settings := dict
  "ACCESS_TOKEN_EXPIRE_MINUTES" (int64 .Values.accessTokenExpireMinutes | toString)
  "BCRYPT_COST" (int64 .Values.bcryptCost | toString)
  "DATABASE_URL" "sqlite:////app/data/auth.db"
  "LISTEN_ADDR" "[::]:8001"
  "MANAGEMENT_ADDR" "[::]:9090"
  "PASSWORD_MIN_LENGTH" (int64 .Values.passwordMinLength | toString)
  "REGISTRATION" .Values.registration
  "SHUTDOWN_DELAY_SECONDS" "0"
  "SHUTDOWN_GRACE_SECONDS" "30"
-}}
{{- with .Values.trustedProxies -}}
{{- $_ := set $settings "TRUSTED_PROXIES" (join "," .) -}}
{{- end -}}
{{- with .Values.corsAllowedOrigins -}}
{{- $_ := set $settings "CORS_ALLOWED_ORIGINS" (join "," .) -}}
{{- end -}}
{{- with .Values.tracing.otlpEndpoint -}}
{{- $_ := set $settings "OTEL_EXPORTER_OTLP_ENDPOINT" . -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* Whether a kind of Prometheus's operator is to be written: (list $ kind values). Empty: no. */}}
{{- define "auth.monitoring" -}}
{{- $root := index . 0 -}}
{{- $wanted := index . 2 -}}
{{- $known := $root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" (index . 1)) -}}
{{- if and $wanted.enabled (or $wanted.force $known) -}}
yes
{{- end -}}
{{- end -}}

{{/* The alerts of files/rules.yaml, a file of Prometheus's, as it is. Empty if there is no such file. */}}
{{- define "auth.alerts" -}}
{{- with .Files.Get "files/rules.yaml" -}}
{{- (fromYaml .).groups | toYaml -}}
{{- end -}}
{{- end -}}
