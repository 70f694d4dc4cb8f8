"""`make scale`: at how many uploads a second each AWS quota gives way, what an upload costs, and what a burst does."""
