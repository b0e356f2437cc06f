"""What the lake stands on: durable steps on disk, the writer's lock, the Delta log, the settings.

Nothing here knows a pass from a finding; `rsd.lake` does.
"""
