"""What the collector does with a meter, one file a kind of job. Each is a coroutine that works through `Meter.run`."""
