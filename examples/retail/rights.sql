-- The user that reads. LOCK TABLES is for `snapshot = "consistent"`: for the moment in which all
-- connections open their snapshots.
CREATE USER reader IDENTIFIED BY 'tides';
GRANT SELECT, LOCK TABLES ON retail.* TO reader;
