"""Results as people see them: records in, tables, figures and one page out.

Nothing here measures or trains: a report is a function of the store, so it can be made again at any time,
on a machine without torch.
"""
