"""Tables, read one row at a time: CSV and its dialects, JSON lines, JSON, Parquet.

    text       files to text: byte-order marks, UTF-16, bytes that are not UTF-8
    delimited · json_rows · parquet    one format each
    reading    `read_rows` and `strict_rows`, by the suffix of the file
    names      the names that a column may have
    cells      cells as text, lists, and paths

Training, batches, curation and the import of reviews all read tables here. Whatever a library raises becomes
`InvalidRequest`, in one line that quotes no more than a few words of the file.
"""

from auralith.tables.reading import SUFFIXES, read_rows, strict_rows
from auralith.tables.row import Row

__all__ = ["SUFFIXES", "Row", "read_rows", "strict_rows"]
