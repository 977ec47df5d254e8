"""The page: one HTML file that shows runs to people, with every trace in it and nothing fetched."""
