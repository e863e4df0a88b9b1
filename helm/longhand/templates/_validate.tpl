{{- /* What values must be together; each on its own is checked by values.schema.json. */}}
{{- define "longhand.validate" -}}
{{- $v := .Values }}
{{- $cells := and (eq $v.topology "pods") (or (gt (int $v.replicas) 1) $v.autoscaling.enabled) }}
{{- if $cells }}
{{- fail (printf "replicas is %v and autoscaling.enabled is %v: more than one cell needs topology: node, since with topology: pods the ranks belong to one coordinator" $v.replicas $v.autoscaling.enabled) }}
{{- end }}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) }}
{{- fail (printf "autoscaling.minReplicas is %v; it must be at most autoscaling.maxReplicas, which is %v" $v.autoscaling.minReplicas $v.autoscaling.maxReplicas) }}
{{- end }}
{{- if and (eq $v.model.source "persistentVolumeClaim") (not $v.model.claimName) }}
{{- fail "model.source is persistentVolumeClaim: model.claimName must name the claim" }}
{{- end }}
{{- if and (eq $v.model.source "hostPath") (not $v.model.hostPath) }}
{{- fail "model.source is hostPath: model.hostPath must name a directory of the nodes" }}
{{- end }}
{{- if and (eq $v.model.source "bundled") (or $v.model.path $v.model.claimName $v.model.hostPath) }}
{{- fail "model.source is bundled: model.path, model.claimName and model.hostPath belong to the other sources and must be empty" }}
{{- end }}
{{- if $v.model.download.enabled }}
{{- if ne $v.model.source "persistentVolumeClaim" }}
{{- fail (printf "model.download.enabled needs model.source: persistentVolumeClaim to write to; it is %s" $v.model.source) }}
{{- end }}
{{- if not $v.model.download.id }}
{{- fail "model.download.enabled needs model.download.id: organisation/name" }}
{{- end }}
{{- if $v.model.path }}
{{- fail (printf "model.path is %s, but model.download.id says which directory is read; leave model.path empty" $v.model.path) }}
{{- end }}
{{- end }}
{{- if and $v.config.threads (eq $v.topology "pods") }}
{{- fail "config.threads is for topology: node; with topology: pods a rank has as many threads as worker.resources.limits.cpu" }}
{{- end }}
{{- if and $v.nccl (ne $v.device "cuda") }}
{{- fail (printf "nccl is set, but device is %s; NCCL runs between GPUs" $v.device) }}
{{- end }}
{{- end }}
