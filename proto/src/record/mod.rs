//! RecordBatch v2: the unit of data everywhere.
