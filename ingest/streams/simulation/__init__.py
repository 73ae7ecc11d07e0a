"""A simulated city: traffic, rain, tide, floods and air as functions of a seed and a time; plausible, not real."""
