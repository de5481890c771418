SELECT
    p.prod_name AS product,
    s.city,
    w.yr_num AS year,
    w.wk_num AS week,
    w.total_sales_amt AS sold,
    w.stock_on_hand_eow AS on_hand,
    w.no_stock_instances AS days_out,
    w.no_stock_impact AS sold_when_out
FROM retail.sales_inv w
JOIN retail.product p ON p.prod_key = w.prod_key AND p.date = '2026-01-18'
JOIN retail.store s ON s.store_key = w.store_key AND s.date = '2026-01-18'
WHERE w.yr_num = 2026
ORDER BY w.no_stock_impact DESC, w.total_sales_amt DESC
LIMIT 10
