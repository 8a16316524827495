-- minWriter: 1
-- minReader: 1
--
-- Which file the store was last opened as (its inode). Where the file is another one, it was copied over the store, and
-- gets a new store_id: the numbers after it may be others than those that a subscriber has seen.
ALTER TABLE store ADD COLUMN file_id TEXT;
