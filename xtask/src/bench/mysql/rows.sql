-- The table that `cargo xtask bench mysql` reads, the same on every machine.
-- Only when it is whole it gets its name.
CREATE DATABASE IF NOT EXISTS bench;
USE bench;
DROP TABLE IF EXISTS making;
CREATE TABLE making (
    id INT NOT NULL PRIMARY KEY,
    store_key INT NOT NULL,
    prod_key INT NOT NULL,
    trans_time INT,
    session BIGINT UNSIGNED NOT NULL,
    trans_dt DATE NOT NULL,
    delivered_dt DATE,
    sold_at DATETIME(6) NOT NULL,
    sales_price DECIMAL(38,2) NOT NULL,
    sales_amt DECIMAL(38,2) NOT NULL,
    discount DECIMAL(38,2),
    weight DOUBLE,
    score DOUBLE NOT NULL,
    customer VARCHAR(60) NOT NULL,
    channel ENUM('store', 'web', 'phone', 'partner') NOT NULL
) CHARACTER SET utf8mb4;
INSERT INTO making
SELECT
    seq,
    seq * 7919 % 1201,
    seq * 104729 % 50021,
    IF(seq % 20 = 0, NULL, seq * 31 % 86400),
    CONV(LEFT(MD5(seq), 16), 16, 10),
    DATE '2020-01-01' + INTERVAL (seq * 13 % 1827) DAY,
    IF(seq % 10 = 0, NULL, DATE '2020-01-03' + INTERVAL (seq * 13 % 1827) DAY),
    TIMESTAMP '2020-01-01 00:00:00' + INTERVAL (seq * 31557017 % 157852800000000) MICROSECOND,
    1 + seq * 37 % 99900 / 100,
    (1 + seq * 37 % 99900 / 100) * (1 + seq % 9),
    IF(seq % 4 = 0, NULL, seq * 17 % 5000 / 100),
    IF(seq % 10 = 3, NULL, seq * 0.7 % 1000 / 3e0),
    SIN(seq),
    CONCAT('customer ', seq * 6151 % 100003, ' of the shop in ', ELT(1 + seq % 5, 'Lyon', 'Graz', 'Zürich', 'Porto', 'Ōsaka')),
    1 + seq * 3 % 4
FROM seq_1_to_{rows};
RENAME TABLE making TO {name};
ANALYZE TABLE {name};
