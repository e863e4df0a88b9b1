{{- define "longhand.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* 40 characters leave room for -coordinator and a pod's number in a host name. */}}
{{- define "longhand.fullname" -}}
{{- $name := include "longhand.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "longhand.selector" -}}
app.kubernetes.io/name: {{ include "longhand.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "longhand.labels" -}}
{{ include "longhand.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Name, namespace and labels of an object; a component gets its name and its label. */}}
{{- define "longhand.metadata" -}}
{{- $component := .component | default "" -}}
name: {{ include "longhand.fullname" .root }}{{ with $component }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "longhand.labels" .root | nindent 2 }}
  {{- with $component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
{{- end }}

{{- define "longhand.image" -}}
{{- $image := .Values.image }}
{{- $tag := $image.tag | default (ternary (printf "%s-cuda" .Chart.AppVersion) .Chart.AppVersion (eq .Values.device "cuda")) }}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}{{ else }}{{ $image.repository }}:{{ $tag }}{{ end }}
{{- end }}

{{- define "longhand.modelPath" -}}
{{- if eq .Values.model.source "bundled" -}}
/opt/longhand/share/longhand/model
{{- else if .Values.model.download.enabled -}}
{{ .Values.model.download.id }}
{{- else -}}
/models{{ with .Values.model.path }}/{{ . }}{{ end }}
{{- end }}
{{- end }}

{{- /* What requests name, and what it is called where nobody says: the repository, or the directory. */}}
{{- define "longhand.servedName" -}}
{{- $path := include "longhand.modelPath" . }}
{{- .Values.model.servedName | default (ternary $path (base $path) .Values.model.download.enabled) }}
{{- end }}

{{- /* Every address of a pod, as the host of a flag. */}}
{{- define "longhand.anyAddress" -}}
{{ ternary "[::]" "0.0.0.0" (eq .Values.ipFamily "IPv6") }}
{{- end }}

{{- define "longhand.numWorkers" -}}
{{ mul .Values.dataParallelSize (add .Values.tensorParallelSize .Values.spareWorkers) }}
{{- end }}

{{- /* The ranks' addresses in rank order, then those of spares, group after group: a worker's pod has its number. The domain is the pods' own, so
       that no cluster domain needs to be known. */}}
{{- define "longhand.workers" -}}
{{- $name := printf "%s-worker" (include "longhand.fullname" .) }}
{{- range $rank := until (int (include "longhand.numWorkers" .)) }}
- {{ $name }}-{{ $rank }}.{{ $name }}:7001
{{- end }}
{{- end }}

{{- /* Seconds from the stop of a pod to its end: until traffic is elsewhere, the drain, and the end itself. */}}
{{- define "longhand.gracePeriod" -}}
{{ add 5 .Values.shutdownTimeout 10 }}
{{- end }}
