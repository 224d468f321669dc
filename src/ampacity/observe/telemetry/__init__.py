"""Export by OpenTelemetry's protocol (OTLP): metrics, workloads' lives as traces, events and output as logs."""
