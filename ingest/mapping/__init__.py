"""From the rows of a file to the features of a theme: descriptions, joins, fields."""
