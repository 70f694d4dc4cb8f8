"""The workflow's look at a file: is what is stored what was recorded?"""
