"""What people see: records in, tables, figures and one page out.

Nothing here measures or trains: a report is a function of what lies in the store, so it can be made again at any time,
on a machine without torch.
"""
