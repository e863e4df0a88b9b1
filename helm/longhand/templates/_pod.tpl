{{- /* What pods have in common. Pod Security: restricted. */}}
{{- define "longhand.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "longhand.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "longhand.containerImage" -}}
image: {{ include "longhand.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- /* .pod: coordinator or worker of the values. */}}
{{- define "longhand.scheduling" -}}
{{- with .pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $i, $constraint := .pod.topologySpreadConstraints }}
{{- if not $i }}
topologySpreadConstraints:
{{- end }}
  - {{ toYaml $constraint | nindent 4 | trim }}
    {{- if not $constraint.labelSelector }}
    labelSelector:
      matchLabels:
        {{- include "longhand.selector" $.root | nindent 8 }}
        app.kubernetes.io/component: {{ $.component }}
    {{- end }}
{{- end }}
{{- end }}

{{- /* .pod: its resources; .gpus: how many GPUs are added. */}}
{{- define "longhand.resources" -}}
{{- $resources := deepCopy .pod.resources }}
{{- if and .gpus (eq .root.Values.device "cuda") }}
{{- $gpus := dict .root.Values.gpu.resourceName (.gpus | toString) }}
{{- $_ := set $resources "limits" (merge $gpus ($resources.limits | default dict)) }}
{{- end }}
resources:
  {{- toYaml $resources | nindent 2 }}
{{- end }}

{{- define "longhand.modelVolume" -}}
{{- if eq .Values.model.source "persistentVolumeClaim" }}
- name: model
  persistentVolumeClaim: {claimName: {{ .Values.model.claimName }}, readOnly: true}
{{- else if eq .Values.model.source "hostPath" }}
- name: model
  hostPath: {path: {{ .Values.model.hostPath }}, type: Directory}
{{- end }}
{{- end }}

{{- define "longhand.modelMount" -}}
{{- if ne .Values.model.source "bundled" }}
- {name: model, mountPath: /models, readOnly: true}
{{- end }}
{{- end }}

{{- define "longhand.scratchVolumes" -}}
- name: tmp
  emptyDir: {}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.sharedMemory }}}
{{- end }}

{{- define "longhand.scratchMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: shm, mountPath: /dev/shm}
{{- end }}

{{- /* Services forget a pod that stops a moment after it is told: it goes on serving until they have. */}}
{{- define "longhand.preStop" -}}
lifecycle:
  preStop:
    sleep: {seconds: 5}
{{- end }}

{{- define "longhand.nccl" -}}
{{- if eq .Values.device "cuda" }}
{{- range $name, $value := .Values.nccl }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- end }}
