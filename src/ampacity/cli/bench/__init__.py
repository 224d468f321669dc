"""Measuring an endpoint under load: an open loop, so that a slow answer holds back no later request."""
