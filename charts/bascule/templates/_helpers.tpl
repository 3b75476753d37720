{{/* Names are fixed: CRDs and admission policies are the cluster's, so there is one installation in a cluster. */}}

{{- define "bascule.labels" -}}
app.kubernetes.io/name: bascule
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Plurals of the kinds with runs. */}}
{{- define "bascule.runKinds" -}}
imagebuilds, patchcampaigns, drdrills
{{- end }}

{{- define "bascule.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:bascule-operator
{{- end }}

{{- define "bascule.workerUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:bascule-worker
{{- end }}

{{- define "bascule.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "bascule.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Environment that operator and workers share. */}}
{{- define "bascule.env" -}}
- name: BASCULE_TEMPORAL_ADDRESS
  value: {{ required "temporal.address is required: host:port of Temporal's frontend" .Values.temporal.address | quote }}
- name: BASCULE_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: BASCULE_PAYLOAD_KEYS_DIR
  value: /etc/bascule/payload-keys
- name: BASCULE_HTTP_PORT
  value: "8080"
{{- with .Values.tracing.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: OTEL_TRACES_SAMPLER
  value: traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ $.Values.tracing.sampleRatio | quote }}
{{- end }}
- name: HOME
  value: /tmp
- name: TMPDIR
  value: /tmp
# The user id has no name in the image, and libraries that ask for one would fail.
- name: USER
  value: bascule
{{- if .Values.trust.caBundle }}
- name: SSL_CERT_FILE
  value: /etc/bascule/ca/ca-bundle.crt
{{- end }}
{{- end }}

{{/* The Secret with what the platform's Temporal demands of the operator, or of the worker. */}}
{{- define "bascule.temporalEnv" -}}
{{- with .Values.temporal.serverName }}
- name: BASCULE_TEMPORAL_SERVER_NAME
  value: {{ . | quote }}
{{- end }}
{{- if .Values.temporal.tls }}
- name: BASCULE_TEMPORAL_TLS
  value: "true"
{{- end }}
{{- end }}

{{- define "bascule.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: payload-keys, mountPath: /etc/bascule/payload-keys, readOnly: true}
{{- if .Values.trust.caBundle }}
- {name: ca, mountPath: /etc/bascule/ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "bascule.volumes" -}}
- name: tmp
  emptyDir: {}
- name: payload-keys
  secret:
    secretName: {{ .Values.payloadKeys.secretName }}
    defaultMode: 0440
{{- if .Values.trust.caBundle }}
- name: ca
  configMap: {name: bascule-ca}
{{- end }}
{{- end }}

{{/* Pods are replaced when what they read at start has changed. */}}
{{- define "bascule.podAnnotations" -}}
{{- if .Values.trust.caBundle }}
bascule.dev/ca-hash: {{ .Values.trust.caBundle | sha256sum | trunc 16 | quote }}
{{- end }}
{{- end }}

{{- define "bascule.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Replicas apart from each other where there is room: first on other nodes, then in other zones. */}}
{{- define "bascule.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        app.kubernetes.io/name: bascule
        app.kubernetes.io/component: {{ $ }}
    # Of each version on its own: pods that are about to go do not count.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}

{{/* A drained node takes at most one replica at a time; of a single one none is guarded, or no node could be drained. */}}
{{- define "bascule.disruptions" -}}
{{- $ := index . 0 }}
{{- $component := index . 1 }}
{{- if gt (int (index . 2)) 1 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: bascule-{{ $component }}
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "bascule.labels" $ | nindent 4 }}
    app.kubernetes.io/component: {{ $component }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      app.kubernetes.io/name: bascule
      app.kubernetes.io/component: {{ $component }}
{{- end }}
{{- end }}

{{/* Killed after a minute without an answer, or two without anything done; not for a loop that is busy for 30 s. */}}
{{- define "bascule.probes" -}}
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 3
  timeoutSeconds: 3
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 60
{{- end }}
