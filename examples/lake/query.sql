SELECT country, count(DISTINCT order_id) AS orders, sum(quantity) AS items, sum(amount) AS amount
FROM shop.order_lines
WHERE day >= '2026-11-02'
GROUP BY country
ORDER BY amount DESC
