"""Ways in for values of streams: a broker, files, recordings, pollers and a simulator; all call the one writer."""
