"""What a description becomes for others: pictures, schemas, pages and the files of other supervisors."""
