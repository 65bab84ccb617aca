{{/* Certificates of authorities, a model, and what else is given: where they are in the container. */}}
{{- define "transcription.volumeMounts" -}}
{{- if .Values.s3.caBundle.existingSecret }}
- name: ca
  mountPath: /etc/transcription/ca
  readOnly: true
{{- end }}
{{- with .Values.engine.whisper.persistentVolumeClaim }}
{{- if .claimName }}
- name: model
  mountPath: /models/volume
  readOnly: true
  {{- with .subPath }}
  subPath: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* And where they come from. */}}
{{- define "transcription.volumes" -}}
{{- with .Values.s3.caBundle }}
{{- if .existingSecret }}
- name: ca
  secret:
    secretName: {{ .existingSecret | quote }}
    # 0444: the file is root's, and the service is not.
    defaultMode: 292
    items:
      - key: {{ .key | quote }}
        path: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with .Values.engine.whisper.persistentVolumeClaim }}
{{- if .claimName }}
- name: model
  persistentVolumeClaim:
    claimName: {{ .claimName | quote }}
    readOnly: true
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
