# Third of three: signs the file, and hands a result on. Lines between the two markers become the Task's results.
echo "Signed by $KELOS_TASK." >>kelos-greeting.txt
git commit --quiet --all --message "greeting: sign"
git push --quiet origin HEAD
cat kelos-greeting.txt
echo "---KELOS_OUTPUTS_START---"
echo "lines: $(grep -c . kelos-greeting.txt)"
echo "---KELOS_OUTPUTS_END---"
