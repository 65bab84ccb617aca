{{/* The name of the program, in labels. */}}
{{- define "operator.name" -}}
{{- default "transcription-operator" .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the objects. At most 50 characters: "-lease" and the hashes of pods come after it. */}}
{{- define "operator.fullname" -}}
{{- $chart := default .Chart.Name .Values.nameOverride -}}
{{- $name := printf "%s-%s" .Release.Name $chart -}}
{{- if contains $chart .Release.Name -}}
{{- $name = .Release.Name -}}
{{- end -}}
{{- default $name .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* By which the pods are found. They never change: a Deployment's selector cannot. The same as in k8s/install.yaml, so that a
release can take its place. */}}
{{- define "operator.selectorLabels" -}}
{{- dict
  "app.kubernetes.io/component" "operator"
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/name" (include "operator.name" .)
  "app.kubernetes.io/part-of" "transcription-stack"
| toYaml -}}
{{- end -}}

{{/* Labels of a pod of a component: (list $ component labels). No version, or a new chart alone would restart them. */}}
{{- define "operator.podLabels" -}}
{{- $root := index . 0 -}}
{{- $own := dict
  "app.kubernetes.io/component" (index . 1)
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/name" (include "operator.name" $root)
  "app.kubernetes.io/part-of" "transcription-stack"
-}}
{{- mergeOverwrite (deepCopy (default dict $root.Values.commonLabels)) (default dict (index . 2)) $own | toYaml -}}
{{- end -}}

{{/* Labels of an object: (list $ labels). */}}
{{- define "operator.labels" -}}
{{- $root := index . 0 -}}
{{- $own := dict
  "app.kubernetes.io/component" "operator"
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/name" (include "operator.name" $root)
  "app.kubernetes.io/part-of" "transcription-stack"
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
-}}
{{- mergeOverwrite (deepCopy (default dict $root.Values.commonLabels)) (default dict (index . 1)) $own | toYaml -}}
{{- end -}}

{{/* Annotations of an object, with their key, or nothing: (list $ annotations). */}}
{{- define "operator.annotations" -}}
{{- $root := index . 0 -}}
{{- with mergeOverwrite (deepCopy (default dict $root.Values.commonAnnotations)) (default dict (index . 1)) -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "operator.image" -}}
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

{{- define "operator.serviceAccountName" -}}
{{- $made := ternary (include "operator.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $made .Values.serviceAccount.name -}}
{{- end -}}

{{/* Where the images of the services are: where the operator's own is, unless the values say it. */}}
{{- define "operator.imagePrefix" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- $folder := dir .Values.image.repository -}}
{{- $parts := list -}}
{{- range list $registry (ternary "" $folder (eq $folder ".")) -}}
{{- if . -}}
{{- $parts = append $parts . -}}
{{- end -}}
{{- end -}}
{{- default (join "/" $parts) .Values.imagePrefix -}}
{{- end -}}

{{/* Whether a kind of Prometheus's operator is to be written: (list $ kind values). Empty: no. */}}
{{- define "operator.monitoring" -}}
{{- $root := index . 0 -}}
{{- $wanted := index . 2 -}}
{{- $known := $root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" (index . 1)) -}}
{{- if and $wanted.enabled (or $wanted.force $known) -}}
yes
{{- end -}}
{{- end -}}

{{/* The alerts of files/rules.yaml, a file of Prometheus's, as it is. Empty if there is no such file. */}}
{{- define "operator.alerts" -}}
{{- with .Files.Get "files/rules.yaml" -}}
{{- (fromYaml .).groups | toYaml -}}
{{- end -}}
{{- end -}}
