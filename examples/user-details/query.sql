SELECT zip_code, count(*) AS people, min(last_name) AS first_by_name
FROM user_database.user_details
GROUP BY zip_code
ORDER BY people DESC, zip_code
LIMIT 10
